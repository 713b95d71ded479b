"""Accounts: people, their passwords and PCs, the links that let them in, the tokens that stand for them."""
