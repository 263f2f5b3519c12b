"""What the models and references of several frameworks write alike: the maths and its constants, a step in parts."""
