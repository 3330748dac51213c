"""The whole service with its venues in virtual time, and the judge of what it did there.

`world` runs it, `truth` reads what it left behind, `checker` and `oracle/` say what must never have happened. The
scenarios of the tests run on it, and `propbot simulate`. The oracle knows nothing of the bot's own code: a rule that
the bot misunderstands must not be misunderstood there by inheritance (an import contract holds that).
"""
