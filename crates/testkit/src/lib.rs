//! Shared test tools: temporary exchanges, manual clocks, process control.
