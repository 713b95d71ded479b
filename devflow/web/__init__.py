"""Everything that knows Flask: requests in, pages and JSON out."""
