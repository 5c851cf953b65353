"""Laws made from laws: parameters held fixed, parameters tied, and laws of transformed inputs.

A law of average parameters, of effective data or of characters is another law with a function on
its inputs; the equation is written once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from analysis.laws.law import Law, Parameter, Values, power, powers_of
from scaling.errors import bad


def fix(law: Law, values: Mapping[str, float]) -> Law:
  """The law with some parameters held at these values; the others are free.

  Raises InputError for a name that is not a free parameter, a value outside its sign, or, for a
  parameter without units, outside its bounds; those of one with units move with the data.
  """
  for name, value in values.items():
    _check(law, name, 'fix')
    next(p for p in law.parameters if p.name == name).check(value, 'fix')
  return _fixed(law, tuple(sorted((k, float(v)) for k, v in values.items()))) if values else law


def tie(law: Law, pairs: Mapping[str, str]) -> Law:
  """The law with some parameters equal to others: {'beta': 'alpha'} is beta = alpha.

  Raises InputError for a name that is not a free parameter.
  """
  for name, to in pairs.items():
    _check(law, name, 'tie')
    _check(law, to, 'tie')
    if to in pairs:
      raise bad(f'tie {name}', to, 'it must be a parameter that is not tied itself')
  return _tied(law, tuple(sorted(pairs.items()))) if pairs else law


def of_inputs(law: Law, name: str, inputs: tuple[str, ...],
              transform: Callable[[Values, Values], dict[str, Any]],
              parameters: tuple[Parameter, ...] = (), units: Mapping[str, str] | None = None,
              **declaration: Any) -> Law:
  """L(transform(params, inputs)): another law of the base law's output.

  transform(params, inputs) gives the base law's inputs, in jax.numpy; it may use `parameters` of
  its own. units: {base input: new input} says whose unit a base input carries where the names
  differ ({'N': 'N_average'}). declaration: any other field of Law (formula, source, columns,
  ranges, ...); formula, source, output and objective default to the base law's.
  """
  renamed = dict(units or {})
  base = tuple(dataclasses.replace(
      p, units=tuple((renamed.get(of, of), power) for of, power in p.units))
      for p in law.parameters)

  def equation(p: Values, x: Values) -> Any:
    return law.equation(p, transform(p, x))

  fields = {'formula': law.formula, 'source': law.source, 'output': law.output,
            'objective': law.objective, 'linear': law.linear} | declaration
  return Law(name=name, inputs=inputs, parameters=(*base, *parameters), equation=equation, **fields)


# Cached, so that asking twice for the same law compiles once.
@functools.lru_cache(maxsize=256)
def _fixed(law: Law, values: tuple[tuple[str, float], ...]) -> Law:
  known = dict(values)
  return _without(law, known, known, fixed=tuple(sorted((*law.fixed, *values))))


@functools.lru_cache(maxsize=256)
def _tied(law: Law, pairs: tuple[tuple[str, str], ...]) -> Law:
  return _without(law, dict(pairs), dict(pairs), tied=tuple(sorted((*law.tied, *pairs))))


def _without(law: Law, gone: Mapping[str, Any], powers: Mapping[str, Any], **record: Any) -> Law:
  """The law without the parameters in `gone`: {name: its value, or the name it is equal to}."""

  def full(p: Values) -> dict[str, Any]:
    return {**p, **{k: p[v] if isinstance(v, str) else v for k, v in gone.items()}}

  def units(parameter: Parameter) -> tuple[tuple[str, str | float], ...]:
    return tuple((of, _renamed(power, powers)) for of, power in parameter.units)

  best, check = law.optimum, law.check
  return dataclasses.replace(
      law, parameters=tuple(dataclasses.replace(p, units=units(p)) for p in law.parameters
                            if p.name not in gone),
      equation=lambda p, x: law.equation(full(p), x),
      optimum=None if best is None else lambda p, flops: best(full(p), flops),
      check=None if check is None else lambda p, x: check(full(p), x),
      # What is equal to another parameter no longer enters linearly, nor does that other.
      linear=tuple(n for n in law.linear if n not in gone and n not in gone.values()), **record)


def _renamed(of: str | float, powers: Mapping[str, Any]) -> str | float:
  """A power with parameters put in for others, or numbers: 'alpha*k' with k = 2 is 'alpha*2.0'."""
  if not isinstance(of, str):
    return of
  sign = '-' if of.startswith('-') else ''
  over = '1/' if '1/' in of else ''
  factors = of.removeprefix('-').removeprefix('1/').split('*')
  new = sign + over + '*'.join(str(powers.get(f, f)) for f in factors)
  return new if powers_of(new) else float(power(new, {}))


def _check(law: Law, name: str, verb: str) -> None:
  if name not in law.names:
    raise bad(verb, name, f'the free parameters of {law.name} are {", ".join(law.names)}')
