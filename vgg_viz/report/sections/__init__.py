"""The chapters of a report, one a file; a newcomer adds a file with a function under @section."""
