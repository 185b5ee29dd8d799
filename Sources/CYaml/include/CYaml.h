/* The YAML parser of libyaml (libyaml-dev), linked into the program: a node needs no package for it. */
#ifndef HOLDFAST_CYAML_H
#define HOLDFAST_CYAML_H
#include <yaml.h>
#endif
