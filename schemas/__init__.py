"""Tables, changes and records, and the rules that decide between two changes. No I/O."""
