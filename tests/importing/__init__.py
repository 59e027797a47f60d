"""Tests of tidegate/importing."""
