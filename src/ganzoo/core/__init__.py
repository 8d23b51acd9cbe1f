"""What every room rests on: registries, components, specs, seeds, devices."""
