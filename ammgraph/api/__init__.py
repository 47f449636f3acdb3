"""What notebooks, programs and the command line call: a spec comes in, a trained run and what it learned go out."""
