"""A config for each dataset; `resizeonce config` lists them."""
