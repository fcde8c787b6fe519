"""What is wrong with a raw dataset, told before hours are spent: by the readers and the reasons of a conversion."""
