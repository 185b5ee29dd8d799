import Basis

// Usage: simulate [--seed N] [--seeds A,B,C] [--runs K] [--minutes M] [--nodes N] [--calm] [--verbose] [--sabotage RULE]
//        simulate lines …
if CommandLine.arguments.dropFirst().first == "lines" { LinesArguments.run(CommandLine.arguments.dropFirst(2)) }
var arguments = SimulateArguments(CommandLine.arguments.dropFirst())
arguments.run()
