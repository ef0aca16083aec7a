"""Between a transport's connection and the runtime: Channel, authentication, the listening endpoint."""
