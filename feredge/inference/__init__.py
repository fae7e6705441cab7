"""The device side's checks of model files, done before a runtime's native code sees them: numpy only."""
