"""Load generator and measuring benches; docs/benchmarks.md says how to read them."""
