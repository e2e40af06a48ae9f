"""Policies, editors and judges, and the micro-batcher that feeds them.

Heavy libraries (torch, transformers, diffusers) are imported inside the functions that need them.
"""
