"""What commands say as JSON where no class of the SDK does: frozen classes, whose members are those of the JSON."""
