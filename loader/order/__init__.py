"""Which samples come when: computed from a few numbers and small columns of the stores. numpy only."""
