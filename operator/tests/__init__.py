"""A package, unlike other tests: else pytest names it `operator.tests` and hides the library's `operator`."""
