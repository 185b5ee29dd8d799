import Basis

// Usage: simulate [--seed N] [--seeds A,B,C] [--runs K] [--minutes M] [--nodes N] [--calm] [--verbose] [--sabotage RULE]
var arguments = SimulateArguments(CommandLine.arguments.dropFirst())
arguments.run()
