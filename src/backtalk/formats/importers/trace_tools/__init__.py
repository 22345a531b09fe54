"""Exports of tools that keep the traces of an application: Langfuse, MLflow, Phoenix, TensorZero.

The modules ``join``, ``messages`` and ``scores`` are shared.
"""
