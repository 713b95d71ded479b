"""Numbers for people's own programs: what is asked, who may see how much of it, and what is answered.

What is counted knows no viewer (``series``) and can be cached; rights are applied to it afterwards
(``aggregate``, ``team``, ``status``).
"""
