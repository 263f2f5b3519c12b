"""What the models of both frameworks write alike: the maths and its constants, stated once."""
