"""What other projects need to test against Ostinato: the conformance kit and helpers."""
