//! Retained messages: the last one of each topic.
