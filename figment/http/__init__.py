"""Shared by both web servers."""
