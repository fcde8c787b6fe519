"""Which samples come when: pure functions of a few numbers. numpy only, no store is read."""
