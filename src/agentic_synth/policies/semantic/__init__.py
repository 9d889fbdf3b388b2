"""Whether the stored answer to one prompt may serve another: rules, a calibrated probability, and a proven bound."""
