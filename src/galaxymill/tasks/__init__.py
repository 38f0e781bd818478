"""What can be learned and predicted: votes on a decision tree, one of some classes, a number."""

from galaxymill.tasks.classes.task import ClassTask
from galaxymill.tasks.numbers.task import NumberTask
from galaxymill.tasks.task import Task
from galaxymill.tasks.votes.task import VoteTask

__all__ = ["ClassTask", "NumberTask", "Task", "VoteTask"]
