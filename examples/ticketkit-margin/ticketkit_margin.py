"""Evaluator `margin`: a whole plugin, and a template for yours."""

import ticketkit


class Margin(ticketkit.Evaluator):
    """How much likelier the first class is than the second, on average."""

    name = "margin"

    def start(self):
        return Margins()


class Margins:
    def __init__(self):
        self.all = []

    def update(self, outputs, targets):
        first, second = outputs.double().softmax(1).topk(2, dim=1).values.T
        self.all += (first - second).tolist()

    def compute(self):
        mean, (low, high) = sum(self.all) / len(self.all), ticketkit.mean_interval(self.all)
        return {"margin": ticketkit.Estimate(mean, len(self.all), low, high)}


@ticketkit.hookimpl
def ticketkit_evaluators():
    yield Margin
