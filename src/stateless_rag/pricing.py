"""Money for tokens, by a table of prices that the caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Price

if TYPE_CHECKING:
    from stateless_rag.types import Prices

__all__ = ["checked_prices", "price_of"]

_BUILT_IN = "hashing-"


def checked_prices(prices: Any) -> Prices:
    """A table of prices: a mapping of names of models to `Price`. Raises InvalidInput."""
    if not isinstance(prices, Mapping):
        raise InvalidInput(f"prices is {shown(prices)}; it must map names of models to Price values")
    for model, price in prices.items():
        if not isinstance(model, str) or not isinstance(price, Price):
            raise InvalidInput(
                f"prices maps {shown(model)} to {shown(price)}; it must map names of models to Price values"
            )
    return dict(prices)


def price_of(prices: Prices, model: str) -> Price:
    """The price of a model. The built-in embedder is free unless it is named.

    Raises InvalidInput if the table has none: money that leaves a model out would be too little.
    """
    price = prices.get(model)
    if price is None and model.startswith(_BUILT_IN):
        return Price(input=0.0)
    price = prices.get("*") if price is None else price
    if price is None:
        raise InvalidInput(
            f'prices has nothing for the model {model!r}; give its Price, or one under "*" for all others'
        )
    return price
