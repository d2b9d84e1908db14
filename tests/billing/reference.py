"""Money written another way, from the product's promise alone: nothing here imports the code that it is compared with.

Dollars as `decimal`, units one slice at a time, no rollup, no chain.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

PLANS = {  # dollars a month, included units, dollars for each unit over them
    "developer": (Decimal(0), 1_000, None),
    "standard": (Decimal(49), 50_000, Decimal("0.001")),
    "growth": (Decimal(249), 500_000, Decimal("0.0005")),
}


@dataclass
class Month:
    """A billing period of one tenant. `cap` in units, None: everything is billed."""

    plan: str
    cap: int | None = None
    shown: int = 0
    hidden: int = 0
    billed: int = 0
    credited: int = 0

    @classmethod
    def of(cls, plan: str) -> "Month":
        """A month with the plan's own cap, 120 % of what it contains."""
        return cls(plan, PLANS[plan][1] * 12 // 10)

    def use(self, units: int) -> dict[str, int]:
        """Use units; how many became what."""
        became = {"billable": 0, "waived": 0, "capped": 0, "free_withheld": 0}
        _, included, rate = PLANS[self.plan]
        while units:
            if self.shown < included:
                step, name = min(units, included - self.shown), "billable"
            elif self.cap is None or self.shown < self.cap:
                step = units if self.cap is None else min(units, self.cap - self.shown)
                name = "billable" if rate else "waived"
            else:
                step, name = units, "capped" if rate else "free_withheld"
            became[name] += step
            units -= step
            if name in {"billable", "waived"}:
                self.shown += step
            else:
                self.hidden += step
            self.billed += step if name == "billable" else 0
        return became

    def overage(self) -> int:
        """Cents of the overage's line."""
        _, included, rate = PLANS[self.plan]
        with localcontext() as context:
            context.prec = 60
            dollars = max(Decimal(0), Decimal(self.billed - self.credited) - included) * (rate or Decimal(0))
            return int((dollars * 100).to_integral_value(ROUND_HALF_UP))

    def bill(self) -> int:
        """Cents of the whole bill."""
        return int(PLANS[self.plan][0] * 100) + self.overage()
