"""Demos of the whole loop: in the mail world, and with a real model."""

from backtalk.demo.mail import DemoModel, run_demo
from backtalk.demo.real_model import run_real_model_demo
from backtalk.demo.result import DemoResult

__all__ = ["DemoModel", "DemoResult", "run_demo", "run_real_model_demo"]
