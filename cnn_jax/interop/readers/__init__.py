"""Arrays by name out of files of other programs, without these programs; no file's code runs."""
