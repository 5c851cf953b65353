"""How a fit is made: coordinates, objectives, the batched solver, the search, what to warn of."""
