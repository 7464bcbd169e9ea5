"""Ostinato's log store on S3 and all that speaks its protocol."""
