"""From a call's usage to money: the price book, name resolution, rates and quotes."""
