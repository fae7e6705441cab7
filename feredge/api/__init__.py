"""The functions behind the commands, one module a subject; `feredge` offers them as its public names.

Each takes keyword arguments and returns a frozen result, with `to_dataframe()` where that is a table. They log under
`feredge.api`, and take `progress` and `cancel`; they print nothing.
"""
