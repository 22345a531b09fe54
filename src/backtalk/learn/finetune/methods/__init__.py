"""Methods that train weights; :data:`~backtalk.learn.method.METHODS` imports them on first use."""
