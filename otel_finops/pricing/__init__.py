"""From a call's usage to money.

What is known: `snapshot` (one list on one day), `packaged` (those that come with us), `sources` (importers of lists), `dated` (the second
source), `house_rules` (the operator's word), composed by `book`. From a name to a row: `providers`, `match`. From a row to rates: `forms`,
`rates`, `hours`, `units`. From a call to a quote: `checks`, `engine`, `quote`; on standard input `calculator`, in bulk `bulk`. What is
really paid: `reports`, `cascade`, `contracts`, `coverage`, `fx`.
"""
