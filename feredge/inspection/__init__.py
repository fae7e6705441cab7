"""Looking into model files, whoever wrote them: what opens one does so in a process of its own."""
