"""What Linux's page allocator is made of: zones, free lists, fallback, per-CPU lists, pages.

After mm/page_alloc.c of Linux 6.12 (6.12.117); facts only, the code is our own.
"""
