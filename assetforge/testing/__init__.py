"""What plugin authors test with: a pytest plugin with fixtures, work folders without a queue, and contract suites to subclass.

::

    from assetforge.testing.trainer_contract import TrainerContract

    class TestMyTrainer(TrainerContract):
        spec = MY_SPEC
        params = {"steps": 12}

Nothing here imports a machine-learning framework.
"""
