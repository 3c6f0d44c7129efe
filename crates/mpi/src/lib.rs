//! Master patient index: matching over keyed features; pure.
