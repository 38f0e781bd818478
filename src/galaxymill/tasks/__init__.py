"""What can be learned and predicted: votes on a decision tree, one of some classes, a number.

Nothing, too: an encoder alone has embeddings only.
"""

from galaxymill.tasks.classes.task import ClassTask
from galaxymill.tasks.nothing import NoTask
from galaxymill.tasks.numbers.task import NumberTask
from galaxymill.tasks.task import Task
from galaxymill.tasks.votes.task import VoteTask

__all__ = ["ClassTask", "NoTask", "NumberTask", "Task", "VoteTask"]
