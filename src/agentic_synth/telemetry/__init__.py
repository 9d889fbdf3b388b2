"""What a run tells about itself: counts, latencies, progress. Bounded, and read by whoever wants to show it."""
