//! What the Python and the Node binding share, so that both behave the same by
//! construction: whose thread drives a call, how a stream is fed into a foreign
//! language, what survives a fork, and what an error looks like from outside.
