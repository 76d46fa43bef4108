"""Networks, targets, precisions and devices from one file: measured, kept in a database, compared."""
