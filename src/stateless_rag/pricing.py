"""Money for tokens, by a table of prices that the caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateless_rag.errors import InvalidInput
from stateless_rag.types import Price
from stateless_rag.types.costs import price_table

if TYPE_CHECKING:
    from stateless_rag.types import Prices

__all__ = ["checked_prices", "is_free", "price_of"]

_BUILT_IN = "hashing-"


def checked_prices(prices: Any) -> Prices:
    """A table of prices: a mapping of names of models to `Price`. Raises InvalidInput."""
    return price_table("prices", prices)


def is_free(model: str) -> bool:
    """Whether calls of a model cost nothing, because it is built in."""
    return model.startswith(_BUILT_IN)


def price_of(prices: Prices, model: str) -> Price:
    """The price of a model. The built-in embedder is free unless it is named.

    Raises InvalidInput if the table has none: money that leaves a model out would be too little.
    """
    price = prices.get(model)
    if price is None and is_free(model):
        return Price(input=0.0)
    price = prices.get("*") if price is None else price
    if price is None:
        raise InvalidInput(
            f'prices has nothing for the model {model!r}; give its Price, or one under "*" for all others'
        )
    return price
