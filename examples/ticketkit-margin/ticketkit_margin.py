"""Evaluator `margin`: a whole plugin, and a template for yours."""

import ticketkit


class Margin(ticketkit.Evaluator):
    """By how much the true class leads: its probability less the highest other one, on average."""

    name = "margin"

    def start(self):
        return _Leads()


class _Leads:
    def __init__(self):
        self.found = []

    def update(self, outputs, targets):
        ticketkit.check_predictions(outputs, targets, first=len(self.found))
        own = targets.long().cpu()[:, None]
        shares = outputs.cpu().double().softmax(1)  # some devices have no float64
        leads = shares.gather(1, own) - shares.scatter(1, own, 0.0).amax(1, keepdim=True)
        self.found += leads.flatten().tolist()

    def compute(self):
        n = len(self.found)
        low, high = ticketkit.mean_interval(self.found) if n > 1 else (None, None)
        return {"margin": ticketkit.Estimate(sum(self.found) / n, n, low, high)}


@ticketkit.hookimpl
def ticketkit_evaluators():
    yield Margin
