"""The legs in a browser: a page served by a process of its own, which the gait loop only feeds.

=================  ===================================================================================
``sink``           in the session's process: takes gait states, never waits, hands commands back
``picture``        what the page is told of a gait state, as JSON can carry it
``band``           how people usually walk, read from the model's folder
``process``        the pipe to the server's process
``commands``       what the page may ask of the session
``server``         the server itself; imports no numpy, no model runtime, no radio
``security``       who may see the page
``address``        which addresses are this machine's own
``charts``         where the packages are that the page is made of
``page/``          the page: our HTML, CSS and JavaScript; the charts are drawn by the ECharts that the
                   ``nicegui`` package ships
=================  ===================================================================================
"""
